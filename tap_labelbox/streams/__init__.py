"""All streams, by subject: the only list of them."""

from itertools import chain

from tap_labelbox.streams import (
    data_rows,
    datasets,
    issues,
    models,
    ontologies,
    organization,
    project_setup,
    quality,
    reports,
    user_groups,
    workflow,
)
from tap_labelbox.streams.bulk_export import BulkExportStream
from tap_labelbox.streams.label_versions import LabelVersionsStream
from tap_labelbox.streams.labels import LabelsStream
from tap_labelbox.streams.presence import DataRowPresenceStream, LabelPresenceStream
from tap_labelbox.streams.projects import ProjectsStream

SUBJECTS = {
    "Work": (
        ProjectsStream,
        project_setup.ProjectMembersStream,
        workflow.BatchesStream,
        workflow.TaskQueuesStream,
        workflow.WorkflowsStream,
        workflow.ProjectOverviewStream,
        quality.BenchmarksStream,
        quality.LabelerPerformanceStream,
        quality.ReviewMetricsStream,
        workflow.LabelingParameterOverridesStream,
        project_setup.ProjectModelConfigsStream,
        workflow.LabelingServiceDashboardStream,
        issues.IssuesStream,
        issues.IssueCommentsStream,
        issues.IssueCategoriesStream,
        project_setup.LabelImportsStream,
        project_setup.MalPredictionImportsStream,
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
        quality.ReviewsStream,
        DataRowPresenceStream,
        LabelPresenceStream,
    ),
    "Data": (
        datasets.DatasetsStream,
        datasets.DataRowsStream,
        data_rows.CatalogDataRowsStream,
        datasets.CatalogSlicesStream,
        datasets.CatalogSliceDataRowsStream,
        datasets.MetadataSchemaStream,
        datasets.MetadataSchemaOptionsStream,
        datasets.EmbeddingTypesStream,
    ),
    "Ontology": (
        ontologies.OntologiesStream,
        ontologies.OntologyFeaturesStream,
        ontologies.FeatureSchemasStream,
    ),
    "Models": (
        models.ModelsStream,
        models.ModelRunsStream,
        models.ModelRunDataRowsStream,
        models.ModelRunPredictionsStream,
        models.FoundryAppsStream,
    ),
    "People": (
        organization.OrganizationStream,
        organization.UsersStream,
        organization.RolesStream,
        user_groups.UserGroupsStream,
        user_groups.UserGroupMembersStream,
        user_groups.UserGroupProjectsStream,
        user_groups.UserGroupAuditEventsStream,
        organization.InvitesStream,
        organization.InviteProjectsStream,
        organization.ResourceTagsStream,
        organization.ProjectResourceTagsStream,
        organization.ApiKeysStream,
        organization.WebhooksStream,
        organization.IamIntegrationsStream,
        organization.TasksStream,
    ),
    "Reports": (
        reports.PerformanceMetricsStream,
        reports.ProjectMetricSeriesStream,
        reports.WorkspaceMetricSeriesStream,
        reports.ProjectLabelersStream,
        reports.ProjectReviewersStream,
        reports.WorkspaceLabelersStream,
        reports.SignInEventsStream,
        reports.SignInSessionsStream,
    ),
}
STREAMS = tuple(chain.from_iterable(SUBJECTS.values()))
