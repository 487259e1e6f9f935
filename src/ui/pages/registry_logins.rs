//! Whether projects' secrets for a registry are still good, as its answers show.

use leptos::prelude::*;

use crate::model::{Login, LoginState};
use crate::ui::components::{Ago, Badge, Col, DataTable, Tone};

/// The secrets that a registry is, or is to be, asked with.
pub fn card(logins: &[Login]) -> Option<AnyView> {
    if logins.is_empty() {
        return None;
    }
    let rows: Vec<_> = logins
        .iter()
        .map(|login| {
            view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=format!("/p/{}/settings", login.project)>
                            {format!("{}: {}", login.project, login.secret)}
                        </a>
                    </th>
                    <td data-label="Credentials">{state(login)}</td>
                </tr>
            }
        })
        .collect();
    Some(
        view! {
            <section class="card">
                <div class="card-header">
                    <h3>"Credentials"</h3>
                </div>
                <DataTable columns=&[Col::Text("Project and secret"), Col::Text("Credentials")]>{rows}</DataTable>
            </section>
        }
        .into_any(),
    )
}

/// How one stands, as its last answer has it.
pub fn state(login: &Login) -> AnyView {
    match login.state() {
        LoginState::Unused => view! { <span class="muted">"not used yet"</span> }.into_any(),
        LoginState::Good(at) => {
            view! { <Badge tone=Tone::Ok text="Valid" />" last answer to it "<Ago at /> }.into_any()
        }
        LoginState::Failing(since) => view! {
            <Badge tone=Tone::Fail text="Failing" />
            " since "
            <Ago at=since />
            {login.message.clone().map(|message| view! { <span class="cell-sub break">{message}</span> })}
        }
        .into_any(),
    }
}
