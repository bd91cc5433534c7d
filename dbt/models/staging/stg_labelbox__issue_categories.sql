-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('issue_categories', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('additional_columns', 'json'),
]) }}
