-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('label_imports', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('name', 'text'),
    ('state', 'text'),
    ('progress', 'text'),
    ('created_by_id', 'text'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
