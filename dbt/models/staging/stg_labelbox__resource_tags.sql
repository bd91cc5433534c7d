-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('resource_tags', [
    ('id', 'text'),
    ('text', 'text'),
    ('color', 'text'),
    ('additional_columns', 'json'),
]) }}
