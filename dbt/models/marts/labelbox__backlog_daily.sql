with events as (
    select
        project_id,
        data_row_id,
        event_number,
        event_at,
        date_day,
        coalesce(to_step_id, to_step_kind) as step_key,
        to_step as step,
        to_step_kind as step_kind
    from {{ ref('labelbox__workflow_events') }}
    where event_at is not null
),

-- A data row leaves the step that it entered last, whatever the event names.
moves as (
    select
        project_id,
        date_day,
        step_key,
        1 as entered,
        0 as left_
    from events
    union all
    select
        project_id,
        date_day,
        step_key,
        0 as entered,
        1 as left_
    from (
        select
            project_id,
            date_day,
            lag(step_key) over (
                partition by project_id, data_row_id order by event_number
            ) as step_key
        from events
    ) as departures
    where step_key is not null
),

steps as (
    select project_id, step_key, step, step_kind
    from (
        select
            project_id,
            step_key,
            step,
            step_kind,
            row_number() over (
                partition by project_id, step_key order by event_at desc, data_row_id
            ) as place
        from events
    ) as names
    where place = 1
),

snapshots as (
    select
        snapshots.*,
        {{ labelbox.labelbox_day('snapshot_at') }} as date_day,
        row_number() over (
            partition by project_id, {{ labelbox.labelbox_day('snapshot_at') }}
            order by snapshot_at desc
        ) as place
    from {{ ref('stg_labelbox__project_overview') }} as snapshots
),

seen as (
    select date_day from events
    union all
    select date_day from snapshots
),

bounds as (
    select
        min(date_day) as first_seen_day,
        {{ labelbox.labelbox_add_days(
            'max(date_day)', 1 - var('labelbox__backlog_days', 730)
        ) }} as first_told_day,
        max(date_day) as last_day
    from seen
),

days as (
    {{ labelbox.labelbox_days(
        '(select greatest(first_seen_day, first_told_day) from bounds)',
        '(select last_day from bounds)'
    ) }}
),

-- What happened before the first day that is shown has happened by then.
changes as (
    select
        moves.project_id,
        moves.step_key,
        greatest(moves.date_day, bounds.first_told_day) as date_day,
        sum(moves.entered) - sum(moves.left_) as change,
        sum(case when moves.date_day >= bounds.first_told_day then moves.entered else 0 end)
            as entered_count,
        sum(case when moves.date_day >= bounds.first_told_day then moves.left_ else 0 end)
            as left_count
    from moves
    cross join bounds
    group by
        moves.project_id,
        moves.step_key,
        greatest(moves.date_day, bounds.first_told_day)
),

begun as (
    select project_id, step_key, min(date_day) as first_day
    from changes
    group by project_id, step_key
),

history as (
    select
        begun.project_id,
        days.day as date_day,
        begun.step_key,
        sum(coalesce(changes.change, 0)) over (
            partition by begun.project_id, begun.step_key
            order by days.day
            rows between unbounded preceding and current row
        ) as data_row_count,
        coalesce(changes.entered_count, 0) as entered_count,
        coalesce(changes.left_count, 0) as left_count
    from begun
    inner join days on begun.first_day <= days.day
    left join changes
        on begun.project_id = changes.project_id
        and begun.step_key = changes.step_key
        and days.day = changes.date_day
),

counted as (
    select
        history.project_id,
        history.date_day,
        'workflow_history' as counted_from,
        history.step_key,
        steps.step,
        steps.step_kind,
        history.data_row_count,
        history.entered_count,
        history.left_count
    from history
    inner join steps
        on history.project_id = steps.project_id
        and history.step_key = steps.step_key
    {%- for status in ['to_label', 'in_review', 'in_rework', 'done'] %}
    union all
    select
        project_id,
        date_day,
        'project_overview' as counted_from,
        '{{ status }}' as step_key,
        '{{ status }}' as step,
        '{{ status }}' as step_kind,
        {{ status }} as data_row_count,
        null as entered_count,
        null as left_count
    from snapshots
    where place = 1
    {%- endfor %}
),

-- A project that was exported keeps its name where the list of projects lacks it.
projects as (
    select project_id, max(project_name) as project_name
    from (
        select id as project_id, name as project_name
        from {{ ref('stg_labelbox__projects') }}
        union all
        select project_id, project_name
        from {{ ref('stg_labelbox__data_row_exports') }}
    ) as named
    group by project_id
)

select
    counted.project_id,
    projects.project_name,
    counted.date_day,
    counted.counted_from,
    counted.step_key,
    counted.step,
    counted.step_kind,
    {{ labelbox.labelbox_integer('counted.data_row_count') }} as data_row_count,
    {{ labelbox.labelbox_integer('counted.entered_count') }} as entered_count,
    {{ labelbox.labelbox_integer('counted.left_count') }} as left_count
from counted
left join projects on counted.project_id = projects.project_id
