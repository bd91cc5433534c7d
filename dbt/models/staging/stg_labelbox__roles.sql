-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('roles', [
    ('id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('organization_id', 'text'),
    ('permissions', 'json'),
    ('additional_columns', 'json'),
]) }}
