-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('iam_integrations', [
    ('id', 'text'),
    ('name', 'text'),
    ('provider', 'text'),
    ('valid', 'boolean'),
    ('is_org_default', 'boolean'),
    ('settings_type', 'text'),
    ('role_arn', 'text'),
    ('service_account_email_id', 'text'),
    ('read_bucket', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('last_valid_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
