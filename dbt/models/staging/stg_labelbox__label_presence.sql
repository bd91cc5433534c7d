-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('label_presence', [
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('label_id', 'text'),
    ('seen_at', 'timestamp'),
    ('record_count', 'integer'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
