-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('webhooks', [
    ('id', 'text'),
    ('url', 'text'),
    ('topics', 'json'),
    ('status', 'text'),
    ('project_id', 'text'),
    ('created_by_id', 'text'),
    ('organization_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
