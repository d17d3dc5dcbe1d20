//! Accounts: who a person is, and that it is them.

pub mod http;
pub mod login;
pub mod password;
pub mod rules;
pub mod store;
