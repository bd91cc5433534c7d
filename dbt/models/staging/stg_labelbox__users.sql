-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('users', [
    ('id', 'text'),
    ('email', 'text'),
    ('name', 'text'),
    ('nickname', 'text'),
    ('picture', 'text'),
    ('is_viewer', 'boolean'),
    ('is_external_user', 'boolean'),
    ('timezone', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('last_login_at', 'timestamp'),
    ('org_role_id', 'text'),
    ('org_role_name', 'text'),
    ('organization_id', 'text'),
    ('additional_columns', 'json'),
]) }}
