-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('organization', [
    ('id', 'text'),
    ('name', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('invites_used', 'integer'),
    ('invites_limit', 'integer'),
    ('invites_remaining', 'integer'),
    ('additional_columns', 'json'),
]) }}
