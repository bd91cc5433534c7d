{{ config(materialized='ephemeral') }}

-- Everybody with a user ID, one row each: the bridge from e-mail addresses, which exports
-- have, to IDs, which all else has.
with told as (
    select
        id as user_id,
        email,
        name,
        is_external_user as is_external,
        1 as preference
    from {{ ref('stg_labelbox__users') }}

    union all

    select
        user_id,
        user_email as email,
        null as name,
        null as is_external,
        2 as preference
    from {{ ref('stg_labelbox__project_members') }}

    union all

    select
        created_by_id as user_id,
        created_by_email as email,
        null as name,
        null as is_external,
        3 as preference
    from {{ ref('stg_labelbox__labels') }}
),

ranked as (
    select
        told.*,
        row_number() over (
            partition by user_id
            order by case when email is null then 1 else 0 end, preference, email
        ) as place
    from told
    where user_id is not null
)

select
    user_id,
    email,
    name,
    is_external,
    {{ labelbox.labelbox_labeler('email', 'user_id') }} as labeler,
    lower(email) as email_key,
    row_number() over (
        partition by lower(email)
        order by preference, user_id
    ) = 1 as is_first_of_email
from ranked
where place = 1
