-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('label_versions', [
    ('id', 'text'),
    ('label_id', 'text'),
    ('data_row_id', 'text'),
    ('project_id', 'text'),
    ('action', 'text'),
    ('created_at', 'timestamp'),
    ('created_by_id', 'text'),
    ('stage_task_queue_id', 'text'),
    ('stage_name', 'text'),
    ('stage_type', 'text'),
    ('annotation_count', 'integer'),
    ('label', 'text'),
    ('additional_columns', 'json'),
]) }}
