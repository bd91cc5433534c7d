-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('project_members', [
    ('project_id', 'text'),
    ('id', 'text'),
    ('user_id', 'text'),
    ('user_email', 'text'),
    ('role_id', 'text'),
    ('role_name', 'text'),
    ('access_from', 'text'),
    ('additional_columns', 'json'),
]) }}
