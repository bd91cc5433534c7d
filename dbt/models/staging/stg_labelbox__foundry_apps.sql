-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('foundry_apps', [
    ('id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('model_id', 'text'),
    ('ontology_id', 'text'),
    ('inference_params', 'json'),
    ('class_to_schema_id', 'json'),
    ('created_by_id', 'text'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
