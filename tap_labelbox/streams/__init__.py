"""All streams, by subject: the only list of them."""

from itertools import chain

from tap_labelbox.streams import data_rows, organization
from tap_labelbox.streams.bulk_export import BulkExportStream
from tap_labelbox.streams.label_versions import LabelVersionsStream
from tap_labelbox.streams.labels import LabelsStream
from tap_labelbox.streams.presence import DataRowPresenceStream, LabelPresenceStream
from tap_labelbox.streams.projects import ProjectsStream
from tap_labelbox.streams.reports import WorkspaceLabelersStream
from tap_labelbox.streams.workflow import TaskQueuesStream

SUBJECTS = {
    "Work": (
        ProjectsStream,
        TaskQueuesStream,
    ),
    "Labels": (
        data_rows.DataRowExportsStream,
        data_rows.ExportLabelsStream,
        data_rows.AnnotationsStream,
        data_rows.AnnotationRelationshipsStream,
        data_rows.LabelReviewsStream,
        data_rows.WorkflowHistoryStream,
        data_rows.DataRowMetadataStream,
        data_rows.DataRowAttachmentsStream,
        data_rows.ExportErrorsStream,
        LabelsStream,
        BulkExportStream,
        LabelVersionsStream,
        DataRowPresenceStream,
        LabelPresenceStream,
    ),
    "People": (
        organization.UsersStream,
        organization.RolesStream,
        organization.UserGroupsStream,
        organization.UserGroupMembersStream,
    ),
    "Reports": (WorkspaceLabelersStream,),
}
STREAMS = tuple(chain.from_iterable(SUBJECTS.values()))
