-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('datasets', [
    ('id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('row_count', 'integer'),
    ('created_by_id', 'text'),
    ('organization_id', 'text'),
    ('iam_integration_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
