-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('api_keys', [
    ('id', 'text'),
    ('name', 'text'),
    ('user_id', 'text'),
    ('user_email', 'text'),
    ('created_by_user_id', 'text'),
    ('revoked', 'boolean'),
    ('expires_at', 'timestamp'),
    ('allowed_ip_cidrs', 'json'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
