-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('user_group_projects', [
    ('user_group_id', 'text'),
    ('project_id', 'text'),
    ('additional_columns', 'json'),
]) }}
