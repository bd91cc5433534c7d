-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('user_group_members', [
    ('user_group_id', 'text'),
    ('user_id', 'text'),
    ('email', 'text'),
    ('role_id', 'text'),
    ('additional_columns', 'json'),
]) }}
