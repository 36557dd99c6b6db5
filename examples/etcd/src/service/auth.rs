//! Users and roles: not there yet, and it says so truthfully.
//!
//! What is asked has true answers already: authentication is off, and there are no users and no
//! roles. A client with a name and a password asks for a token first, and goes on without one when
//! told so, as it does with etcd. What would change that is not there.

use drystone_etcd_api::etcdserverpb::{self as pb, auth_server};
use tonic::{Request, Response, Status};

use crate::error_text::{
    AUTH_NOT_ENABLED, NO_ROOT_USER, NO_SUCH_ROLE, NO_SUCH_USER, unimplemented,
};
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

        async fn auth_enable(
            &self,
            _: Request<pb::AuthEnableRequest>,
        ) -> Result<Response<pb::AuthEnableResponse>, Status> {
            Err(Status::failed_precondition(NO_ROOT_USER))
        }

        async fn auth_disable(
            &self,
            _: Request<pb::AuthDisableRequest>,
        ) -> Result<Response<pb::AuthDisableResponse>, Status> {
            Ok(Response::new(pb::AuthDisableResponse { header: Some(self.header_now()) }))
        }

        async fn user_list(
            &self,
            _: Request<pb::AuthUserListRequest>,
        ) -> Result<Response<pb::AuthUserListResponse>, Status> {
            let header = Some(self.header_now());
            Ok(Response::new(pb::AuthUserListResponse { header, users: Vec::new() }))
        }

        async fn role_list(
            &self,
            _: Request<pb::AuthRoleListRequest>,
        ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
            let header = Some(self.header_now());
            Ok(Response::new(pb::AuthRoleListResponse { header, roles: Vec::new() }))
        }

        async fn user_get(
            &self,
            _: Request<pb::AuthUserGetRequest>,
        ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
            Err(Status::failed_precondition(NO_SUCH_USER))
        }

        async fn role_get(
            &self,
            _: Request<pb::AuthRoleGetRequest>,
        ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
            Err(Status::failed_precondition(NO_SUCH_ROLE))
        }
    }
    user_add(AuthUserAddRequest) -> AuthUserAddResponse: "UserAdd";
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse: "UserDelete";
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse:
        "UserChangePassword";
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse: "UserGrantRole";
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse: "UserRevokeRole";
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse: "RoleAdd";
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse: "RoleDelete";
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse:
        "RoleGrantPermission";
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse:
        "RoleRevokePermission";
}
