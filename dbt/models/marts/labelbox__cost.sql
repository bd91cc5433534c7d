with labels as (
    select * from {{ ref('labelbox__labels') }} where created_at is not null
),

work as (
    {%- for activity, column in {
        'labeling': 'seconds_to_label',
        'review': 'seconds_to_review',
        'rework': 'seconds_to_rework',
    }.items() %}
    select
        project_id,
        project_name,
        date_day,
        date_week,
        labeler,
        '{{ activity }}' as activity,
        {{ column }} as seconds
    from labels
    where {{ column }} > 0
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

hours as (
    select
        project_id,
        max(project_name) as project_name,
        date_day,
        date_week,
        labeler,
        activity,
        count(*) as label_count,
        {{ labelbox.labelbox_number('sum(seconds)') }} / 3600 as hours
    from work
    group by project_id, date_day, date_week, labeler, activity
),

rates as (
    select
        lower(labeler) as labeler,
        activity,
        cast(valid_from as date) as valid_from,
        cast(hourly_rate as {{ labelbox.labelbox_type('number') }}) as hourly_rate,
        currency
    from {{ ref('labelbox__hourly_rates') }}
),

priced as (
    select
        hours.*,
        rates.hourly_rate,
        rates.currency,
        row_number() over (
            partition by hours.project_id, hours.date_day, hours.labeler, hours.activity
            order by
                case when rates.labeler = '*' then 1 else 0 end,
                case when rates.activity = '*' then 1 else 0 end,
                rates.valid_from desc
        ) as place
    from hours
    left join rates
        on (rates.labeler = lower(hours.labeler) or rates.labeler = '*')
        and (rates.activity = hours.activity or rates.activity = '*')
        and rates.valid_from <= hours.date_day
)

select
    project_id,
    project_name,
    date_day,
    date_week,
    labeler,
    activity,
    label_count,
    hours,
    hourly_rate,
    currency,
    hours * hourly_rate as cost
from priced
where place = 1
