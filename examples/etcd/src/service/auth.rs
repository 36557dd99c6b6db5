//! Users and roles: who may log in, and what he may then do.
//!
//! What changes them is a command; what looks at them makes sure first that this member is up to
//! date. A password is hashed before it goes anywhere, and a token is known by its hash from the
//! moment it is drawn:
//!
//! ```text
//!   Authenticate alice, "pw"
//!     up to date? ──► auth revision 7, hash of alice ──► is "pw" right?          50 ms of a core
//!     draw a token ──► propose: alice was recognised at 7, SHA-256 of the token
//!                        applied at 8? ──► over again: the password may be another now
//!                        applied at 7  ──► every member knows the hash; the client gets the token
//! ```

use drystone_etcd_api::authpb;
use drystone_etcd_api::etcdserverpb::{self as pb, auth_server};
use drystone_kv::auth::{Permission, PermissionKind, ROOT_ROLE};
use drystone_kv::command::{AuthChange, Command};
use drystone_kv::{Auth, Caller, Refusal};
use tonic::{Request, Response, Status};

use crate::auth::tokens::Secret;
use crate::auth::{TokenKind, caller_of};
use crate::error_text;
use crate::member::{self, Shared};
use crate::store::Error;

/// How often a password is looked at anew because users have changed meanwhile.
const TRIES_MAX: usize = 10;

fn refused(refusal: Refusal) -> Status {
    error_text::status(&Error::Refused(refusal))
}

/// Implements the calls that are one change each.
macro_rules! auth_service {
    (
        { $($written:tt)* }
        $($call:ident($request:ident) -> $response:ident: $change:expr;)*
    ) => {
        #[tonic::async_trait]
        impl auth_server::Auth for Shared {
            $($written)*
            $(
                async fn $call(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let caller = caller_of(&request);
                    let change: fn(pb::$request) -> AuthChange = $change;
                    let header = self.change_users(&caller, change(request.into_inner())).await?;
                    Ok(Response::new(pb::$response { header: Some(header) }))
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
            self.linearize().await?;
            let auth = self.kv.auth();
            Ok(Response::new(pb::AuthStatusResponse {
                header: Some(self.header_now()),
                enabled: auth.enabled,
                auth_revision: auth.revision,
            }))
        }

        async fn authenticate(
            &self,
            request: Request<pb::AuthenticateRequest>,
        ) -> Result<Response<pb::AuthenticateResponse>, Status> {
            let pb::AuthenticateRequest { name, password } = request.into_inner();
            let (revision, token) = self.log_in(&name, &password).await?;
            let header = Some(self.header(revision));
            Ok(Response::new(pb::AuthenticateResponse { header, token }))
        }

        async fn user_add(
            &self,
            request: Request<pb::AuthUserAddRequest>,
        ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
            let caller = caller_of(&request);
            let pb::AuthUserAddRequest { name, password, options, .. } = request.into_inner();
            if name.is_empty() {
                return Err(refused(Refusal::UserNameEmpty));
            }
            let no_password = options.is_some_and(|options| options.no_password);
            let password = match no_password {
                true => bytes::Bytes::new(),
                false => self.passwords.hash(password).await?,
            };
            let change = AuthChange::UserAdd { name, password, no_password };
            let header = Some(self.change_users(&caller, change).await?);
            Ok(Response::new(pb::AuthUserAddResponse { header }))
        }

        async fn user_change_password(
            &self,
            request: Request<pb::AuthUserChangePasswordRequest>,
        ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
            let caller = caller_of(&request);
            let request = request.into_inner();
            let pb::AuthUserChangePasswordRequest { name, password, hashed_password } = request;
            let password = match password.is_empty() {
                // etcd takes a hash in place of a password here, as its own members send it.
                true => given_hash(&hashed_password)?,
                false => self.passwords.hash(password).await?,
            };
            let change = AuthChange::UserChangePassword { name, password };
            let header = Some(self.change_users(&caller, change).await?);
            Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
        }

        async fn user_list(
            &self,
            request: Request<pb::AuthUserListRequest>,
        ) -> Result<Response<pb::AuthUserListResponse>, Status> {
            let auth = self.users_for(&request, Auth::permit_root).await?;
            let (header, users) = (Some(self.header_now()), auth.users.keys().cloned().collect());
            Ok(Response::new(pb::AuthUserListResponse { header, users }))
        }

        async fn role_list(
            &self,
            request: Request<pb::AuthRoleListRequest>,
        ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
            let auth = self.users_for(&request, Auth::permit_root).await?;
            let (header, roles) = (Some(self.header_now()), auth.roles.keys().cloned().collect());
            Ok(Response::new(pb::AuthRoleListResponse { header, roles }))
        }

        async fn user_get(
            &self,
            request: Request<pb::AuthUserGetRequest>,
        ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
            let asked = request.get_ref().name.clone();
            let auth = self.users_for(&request, |auth, caller| match caller {
                Caller::User { name, .. } if **name == *asked => Ok(()),
                _ => auth.permit_root(caller),
            });
            let auth = auth.await?;
            let user = auth.users.get(&asked).ok_or_else(|| refused(Refusal::UserNotFound))?;
            let (header, roles) = (Some(self.header_now()), user.roles.iter().cloned().collect());
            Ok(Response::new(pb::AuthUserGetResponse { header, roles }))
        }

        async fn role_get(
            &self,
            request: Request<pb::AuthRoleGetRequest>,
        ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
            let asked = request.get_ref().role.clone();
            let auth = self.users_for(&request, |auth, caller| match caller {
                Caller::User { name, .. } if has_role(auth, name, &asked) => Ok(()),
                _ => auth.permit_root(caller),
            });
            let auth = auth.await?;
            let role = auth.roles.get(&asked).ok_or_else(|| refused(Refusal::RoleNotFound))?;
            let perm = match asked == ROOT_ROLE {
                true => vec![everything()],
                false => role.iter().map(message).collect(),
            };
            Ok(Response::new(pb::AuthRoleGetResponse { header: Some(self.header_now()), perm }))
        }

        async fn role_grant_permission(
            &self,
            request: Request<pb::AuthRoleGrantPermissionRequest>,
        ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
            let caller = caller_of(&request);
            let pb::AuthRoleGrantPermissionRequest { name: role, perm } = request.into_inner();
            let permission = permission(perm)?;
            let change = AuthChange::RoleGrantPermission { role, permission };
            let header = Some(self.change_users(&caller, change).await?);
            Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
        }
    }
    auth_enable(AuthEnableRequest) -> AuthEnableResponse: |_| AuthChange::Enable;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse: |_| AuthChange::Disable;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse:
        |request| AuthChange::UserDelete { name: request.name };
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse:
        |request| AuthChange::UserGrantRole { name: request.user, role: request.role };
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse:
        |request| AuthChange::UserRevokeRole { name: request.name, role: request.role };
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse:
        |request| AuthChange::RoleAdd { name: request.name };
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse:
        |request| AuthChange::RoleDelete { name: request.role };
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse:
        |request| AuthChange::RoleRevokePermission {
            role: request.role,
            key: request.key,
            range_end: request.range_end,
        };
}

impl Shared {
    async fn change_users(
        &self,
        caller: &Caller,
        change: AuthChange,
    ) -> Result<pb::ResponseHeader, Status> {
        let said = format!("{change:?}");
        let reply = member::auth_reply(self.propose(caller, Command::Auth(change)).await?);
        tracing::info!(change = said, auth_revision = reply.auth_revision, "changed users");
        Ok(self.header(reply.revision))
    }

    /// Users and roles as they are, for whom they are for.
    async fn users_for<T>(
        &self,
        request: &Request<T>,
        permit: impl FnOnce(&Auth, &Caller) -> Result<(), Refusal>,
    ) -> Result<std::sync::Arc<Auth>, Status> {
        let caller = caller_of(request);
        self.linearize().await?;
        let auth = self.kv.auth();
        if auth.enabled {
            permit(&auth, &caller).map_err(refused)?;
        }
        Ok(auth)
    }

    /// A token for whom a name and a password are right, and the revision of the answer.
    async fn log_in(&self, name: &str, password: &str) -> Result<(u64, String), Status> {
        for _ in 0..TRIES_MAX {
            self.linearize().await?;
            let revision = self.check_password(name, password).await?;
            let secret = Secret::draw();
            let jwt = match &self.config.tokens {
                TokenKind::Simple => None,
                TokenKind::Jwt(jwt) => Some(jwt),
            };
            let token = jwt.is_none().then(|| secret.hash());
            let change = AuthChange::Authenticate { user: name.to_owned(), revision, token };
            match self.try_propose(&Caller::System, Command::Auth(change)).await {
                Ok(reply) => {
                    let reply = member::auth_reply(reply);
                    let token = match jwt {
                        None => secret.token(self.kv.applied()),
                        Some(jwt) => {
                            let signed = jwt.sign(name, revision);
                            signed.ok_or_else(error_text::cannot_sign)?
                        }
                    };
                    return Ok((reply.revision, token));
                }
                // Users have changed since the password was looked at.
                Err(Error::Refused(Refusal::AuthRevisionOld)) => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Err(refused(Refusal::AuthRevisionOld))
    }

    /// The auth revision at which this is the password of that user.
    async fn check_password(&self, name: &str, password: &str) -> Result<u64, Status> {
        let auth = self.kv.auth();
        if !auth.enabled {
            return Err(refused(Refusal::AuthNotEnabled));
        }
        let user = auth.users.get(name).ok_or_else(|| refused(Refusal::AuthFailed))?;
        if user.no_password {
            return Err(Status::unknown(error_text::NO_PASSWORD_USER));
        }
        let (revision, hash) = (auth.revision, user.password.clone());
        drop(auth);
        match self.passwords.is_right(password.to_owned(), hash).await? {
            true => Ok(revision),
            false => {
                tracing::info!(user_name = name, "invalid password");
                Err(refused(Refusal::AuthFailed))
            }
        }
    }
}

fn has_role(auth: &Auth, user: &str, role: &str) -> bool {
    auth.users.get(user).is_some_and(|user| user.roles.contains(role))
}

fn given_hash(hash: &str) -> Result<bytes::Bytes, Status> {
    use base64::Engine as _;
    let hash = base64::engine::general_purpose::STANDARD.decode(hash);
    hash.map(bytes::Bytes::from).map_err(|_| Status::unknown(error_text::NO_PASSWORD_USER))
}

fn permission(given: Option<authpb::Permission>) -> Result<Permission, Status> {
    let given = given.ok_or_else(|| Status::invalid_argument(error_text::PERMISSION_NOT_GIVEN))?;
    let kind = u8::try_from(given.perm_type).ok().and_then(PermissionKind::from_byte);
    let kind = kind.ok_or_else(|| refused(Refusal::InvalidAuthManagement))?;
    Ok(Permission { kind, key: given.key, range_end: given.range_end })
}

fn message(permission: &Permission) -> authpb::Permission {
    let Permission { kind, key, range_end } = permission.clone();
    authpb::Permission { perm_type: i32::from(kind as u8), key, range_end }
}

/// What the role root may do, whatever it was given.
fn everything() -> authpb::Permission {
    let perm_type = authpb::permission::Type::Readwrite.into();
    authpb::Permission { perm_type, key: Default::default(), range_end: vec![0].into() }
}
