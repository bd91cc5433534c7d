-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('project_model_configs', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('model_config_id', 'text'),
    ('model_id', 'text'),
    ('inference_params', 'json'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
