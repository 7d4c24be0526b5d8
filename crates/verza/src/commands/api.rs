//! `verza api`: the generated descriptions of the API. They are committed beside the code, and a
//! test fails when they are stale.

use std::process::ExitCode;

use kernel::{Error, Result};
use platform::http::Route;

use crate::cli::ApiCommand;
use crate::wiring;

pub fn api(command: &ApiCommand) -> Result<ExitCode> {
    match command {
        ApiCommand::Routes => say_all!("{}", routes_page()?),
        ApiCommand::Openapi => say_all!("{}", openapi_document()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// `routes.txt`.
pub fn routes_page() -> Result<String> {
    Ok(gateway::list_routes(&wiring::routes_for_description()?))
}

/// `openapi.json`.
pub fn openapi_document() -> Result<String> {
    let rows = wiring::routes_for_description()?;
    let rows: Vec<_> = rows.iter().map(Route::described).collect();
    let document = gateway::document_of(&wiring::API_INFO, &rows);
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Error::internal("the document cannot be written").because(error))?;
    Ok(text + "\n")
}
