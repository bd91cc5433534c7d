-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('reviews', [
    ('id', 'text'),
    ('label_id', 'text'),
    ('project_id', 'text'),
    ('score', 'number'),
    ('created_by_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
