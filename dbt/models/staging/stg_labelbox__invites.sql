-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('invites', [
    ('id', 'text'),
    ('invitee_email', 'text'),
    ('organization_role_name', 'text'),
    ('created_at', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
