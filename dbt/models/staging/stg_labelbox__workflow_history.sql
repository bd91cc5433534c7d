-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('workflow_history', [
    ('project_id', 'text'),
    ('data_row_id', 'text'),
    ('last_activity_at', 'timestamp'),
    ('sequence', 'integer'),
    ('action', 'text'),
    ('created_at', 'timestamp'),
    ('created_by_email', 'text'),
    ('previous_task_queue_id', 'text'),
    ('previous_task_queue_name', 'text'),
    ('next_task_queue_id', 'text'),
    ('next_task_queue_name', 'text'),
    ('additional_columns', 'json'),
]) }}
