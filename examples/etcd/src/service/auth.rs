//! Users and roles: not there yet, and it says so truthfully.
//!
//! Two of the calls have true answers already. A client with a name and a password asks for a token
//! first, and goes on without one when told that authentication is off, as it does with etcd.

use drystone_etcd_api::etcdserverpb::{self as pb, auth_server};
use tonic::{Request, Response, Status};

use crate::error_text::{AUTH_NOT_ENABLED, unimplemented};
use crate::member::Shared;

/// The revision of a store of users that nothing was written to.
const AUTH_REVISION_FRESH: u64 = 1;

/// Implements the service from the calls that are written out, and those that only have a name.
macro_rules! auth_service {
    (
        { $($written:tt)* }
        $($call:ident($request:ident) -> $response:ident: $name:literal;)*
    ) => {
        #[tonic::async_trait]
        impl auth_server::Auth for Shared {
            $($written)*
            $(
                async fn $call(
                    &self,
                    _: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    Err(unimplemented($name))
                }
            )*
        }
    };
}

auth_service! {
    {
        async fn auth_status(
            &self,
            _: Request<pb::AuthStatusRequest>,
        ) -> Result<Response<pb::AuthStatusResponse>, Status> {
            Ok(Response::new(pb::AuthStatusResponse {
                header: Some(self.header_now()),
                enabled: false,
                auth_revision: AUTH_REVISION_FRESH,
            }))
        }

        async fn authenticate(
            &self,
            _: Request<pb::AuthenticateRequest>,
        ) -> Result<Response<pb::AuthenticateResponse>, Status> {
            Err(Status::failed_precondition(AUTH_NOT_ENABLED))
        }
    }
    auth_enable(AuthEnableRequest) -> AuthEnableResponse: "AuthEnable";
    auth_disable(AuthDisableRequest) -> AuthDisableResponse: "AuthDisable";
    user_add(AuthUserAddRequest) -> AuthUserAddResponse: "UserAdd";
    user_get(AuthUserGetRequest) -> AuthUserGetResponse: "UserGet";
    user_list(AuthUserListRequest) -> AuthUserListResponse: "UserList";
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse: "UserDelete";
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse:
        "UserChangePassword";
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse: "UserGrantRole";
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse: "UserRevokeRole";
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse: "RoleAdd";
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse: "RoleGet";
    role_list(AuthRoleListRequest) -> AuthRoleListResponse: "RoleList";
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse: "RoleDelete";
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse:
        "RoleGrantPermission";
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse:
        "RoleRevokePermission";
}
