-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('label_reviews', [
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('last_activity_at', 'timestamp'),
    ('label_id', 'text'),
    ('sequence', 'integer'),
    ('score', 'number'),
    ('created_at', 'timestamp'),
    ('created_by_email', 'text'),
    ('additional_columns', 'json'),
]) }}
