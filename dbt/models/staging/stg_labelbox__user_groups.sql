-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('user_groups', [
    ('id', 'text'),
    ('name', 'text'),
    ('color', 'text'),
    ('description', 'text'),
    ('member_count', 'integer'),
    ('project_count', 'integer'),
    ('additional_columns', 'json'),
]) }}
