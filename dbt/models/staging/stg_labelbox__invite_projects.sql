-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('invite_projects', [
    ('invite_id', 'text'),
    ('project_id', 'text'),
    ('id', 'text'),
    ('project_role_name', 'text'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
