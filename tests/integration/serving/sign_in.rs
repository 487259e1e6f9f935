//! Passwords and their limits, as every door uses them.

use secrecy::SecretString;
use weir::server::auth::AuthError;

use crate::support::{ADMIN_PASSWORD, TestWeir, tester};

#[tokio::test]
async fn wrong_passwords_are_limited_by_user_and_address() {
    let weir = TestWeir::start().await;
    let auth = &weir.state.auth;
    let (right, wrong) = (SecretString::from(ADMIN_PASSWORD), SecretString::from("wrong"));
    for _ in 0..5 {
        let refused = auth.check_password("admin", &wrong, "192.0.2.1").await;
        assert!(matches!(refused, Err(AuthError::Wrong)), "{refused:?}");
    }
    let limited = auth.check_password("admin", &right, "192.0.2.1").await;
    assert!(matches!(limited, Err(AuthError::Limited { .. })), "{limited:?}");
    let elsewhere = auth.check_password("admin", &right, "192.0.2.2").await;
    assert_eq!(elsewhere.unwrap().name, "admin");
}

#[tokio::test]
async fn a_right_password_may_come_with_every_request() {
    let weir = TestWeir::start().await;
    let right = SecretString::from(ADMIN_PASSWORD);
    for _ in 0..50 {
        weir.state.auth.check_password("admin", &right, "192.0.2.1").await.unwrap();
    }
}

#[tokio::test]
async fn disabled_users_and_users_without_a_password_stay_out() {
    let weir = TestWeir::start().await;
    weir.make_user("ada").await;
    let empty = SecretString::from("");
    assert!(weir.state.auth.check_password("ada", &empty, "").await.is_err());
    weir.store().create_user("root", "", None, true, &tester()).await.unwrap();
    weir.store().disable_user("admin", &tester()).await.unwrap();
    let refused = weir.state.auth.check_password("admin", &ADMIN_PASSWORD.into(), "").await;
    assert!(matches!(refused, Err(AuthError::Wrong)), "{refused:?}");
}
