-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('labeling_parameter_overrides', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('priority', 'integer'),
    ('number_of_labels', 'integer'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
