-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('annotation_relationships', [
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('last_activity_at', 'timestamp'),
    ('label_id', 'text'),
    ('relationship_id', 'text'),
    ('feature_id', 'text'),
    ('feature_schema_id', 'text'),
    ('name', 'text'),
    ('value', 'text'),
    ('annotation_kind', 'text'),
    ('source_feature_id', 'text'),
    ('target_feature_id', 'text'),
    ('relationship_type', 'text'),
    ('classifications', 'json'),
    ('additional_columns', 'json'),
]) }}
