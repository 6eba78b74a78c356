//! What Azure DevOps says, and what it means.

use super::RIGHT;
use crate::says::{Line, Meaning};

/// Pages are those of learn.microsoft.com. An error has a number (`TF…`, `VS…`) in its message and
/// a name in `typeKey`; its words are in the language of the server.
#[rustfmt::skip]
pub(crate) const TABLE: &[Line] = &[
    // A missing permission is named as people see it. Source of the names: "Permissions and groups
    // in Azure DevOps", repository level.
    Line { status: &[401, 403], says: "'pullrequestcontribute'",
        means: Meaning::Lacks("Contribute to pull requests"),
        source: "shayki5/azure-devops-create-pr-task#35" },
    Line { status: &[401, 403], says: "'genericcontribute'", means: Meaning::Lacks("Contribute"),
        source: "shayki5/azure-devops-create-pr-task#35" },
    Line { status: &[401, 403], says: "'genericread'", means: Meaning::Lacks("Read"),
        source: "Git permissions" },
    Line { status: &[401, 403], says: "'createbranch'", means: Meaning::Lacks("Create branch"),
        source: "Git permissions" },
    Line { status: &[401, 403], says: "'forcepush'", means: Meaning::Lacks("Force push"),
        source: "Git permissions" },
    Line { status: &[401, 403], says: "tf401027", means: Meaning::Lacks(RIGHT),
        source: "GitNeedsPermissionException" },
    Line { status: &[401, 403], says: "vs403463",
        means: Meaning::Lacks("what the organization's conditional access policy asks for"),
        source: "microsoft/coe-starter-kit#6694" },
    Line { status: &[401, 403], says: "conditional access policy",
        means: Meaning::Lacks("what the organization's conditional access policy asks for"),
        source: "microsoft/Git-Credential-Manager-for-Windows#855" },
    Line { status: &[401, 403], says: "personal access token used has expired", means: Meaning::Expired,
        source: "\"Access Denied: The Personal Access Token used has expired.\"" },
    Line { status: &[400, 401, 403], says: "tf400813", means: Meaning::Refused,
        source: "\"not authorized to access this resource\": Azure/azure-cli#24108" },
    Line { status: &[400, 401, 403], says: "tf30063", means: Meaning::Refused,
        source: "Troubleshoot connecting to a project: \"You are not authorized to access\"" },
    Line { status: &[400], says: "vssversionoutofrangeexception", means: Meaning::Unsupported(TOO_OLD),
        source: "REST API versioning" },
    Line { status: &[400], says: "the requested rest api version", means: Meaning::Unsupported(TOO_OLD),
        source: "REST API versioning" },
    Line { status: &[400, 404], says: "tf401019", means: Meaning::NotFound,
        source: "shayki5/azure-devops-create-pr-task#191" },
    Line { status: &[400, 404], says: "tf200016", means: Meaning::NotFound,
        source: "\"The following project does not exist\": ProjectDoesNotExistWithNameException" },
    Line { status: &[400, 404], says: "vs800075", means: Meaning::NotFound,
        source: "\"The project with id … does not exist\": ProjectDoesNotExistException" },
    Line { status: &[400, 404, 409], says: "tf401398", means: Meaning::Unseen,
        source: "right after a push: mburumaxwell/paklo#1365, renovatebot/renovate#6846" },
    Line { status: &[400, 404], says: "tf401175", means: Meaning::Unseen,
        source: "GitUnresolvableToCommitException" },
    Line { status: &[409], says: "tf401179", means: Meaning::Exists,
        source: "shayki5/azure-devops-create-pr-task#31" },
    Line { status: &[], says: "tf401181", means: Meaning::Conflict,
        source: "GitPullRequestNotEditableException: microsoft/coe-starter-kit#6729" },
    Line { status: &[], says: "tf400733", means: Meaning::Limited,
        source: "Rate and usage limits: \"Request was blocked due to exceeding usage of resource\"" },
    Line { status: &[400, 401, 403, 404], says: "tf400898", means: Meaning::Unavailable,
        source: "\"An Internal Error Occurred. Activity Id\"" },
    Line { status: &[400, 401, 403, 404], says: "tf400324", means: Meaning::Unavailable,
        source: "Troubleshoot connecting to a project: \"services are not available from server\"" },
    Line { status: &[400, 401, 403, 404], says: "tf246017", means: Meaning::Unavailable,
        source: "\"could not connect to the database\"" },
    Line { status: &[400, 401, 403, 404], says: "tf30059", means: Meaning::Unavailable,
        source: "\"Fatal error while initializing web service\"" },
];

const TOO_OLD: &str = "Azure DevOps Server 2022 or newer is needed";
