-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('tasks', [
    ('id', 'text'),
    ('name', 'text'),
    ('type', 'text'),
    ('status', 'text'),
    ('completion_percentage', 'number'),
    ('metadata', 'json'),
    ('created_by_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
