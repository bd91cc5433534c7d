-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('task_queues', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('queue_type', 'text'),
    ('data_row_count', 'integer'),
    ('order', 'integer'),
    ('additional_columns', 'json'),
]) }}
