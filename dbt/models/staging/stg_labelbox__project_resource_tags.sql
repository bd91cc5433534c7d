-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('project_resource_tags', [
    ('project_id', 'text'),
    ('resource_tag_id', 'text'),
    ('text', 'text'),
    ('color', 'text'),
    ('additional_columns', 'json'),
]) }}
