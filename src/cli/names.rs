//! Which name the state knows a mapping by: until the first run after it was
//! renamed, the one in `was`.

use std::collections::HashMap;

use super::Failure;
use super::wire::Systems;
use crate::config::Project;
use crate::config::model::Mapping;
use crate::diagnostic::{Code, Diagnostic};
use crate::state::{Store, StoreError};

/// The renamed mappings of a project that the state has under another name.
#[derive(Default)]
pub(super) struct Names {
    /// By the name they have now.
    former: HashMap<String, String>,
    /// Mappings that cannot take over what their former name has, and why.
    refused: HashMap<String, String>,
}

impl Names {
    pub(super) async fn look(project: &Project, store: &dyn Store) -> Result<Names, StoreError> {
        let mut names = Names::default();
        let renamed = || project.mappings.iter().filter_map(|mapping| Some((mapping, mapping.former_name()?)));
        if renamed().next().is_none() {
            return Ok(names);
        }
        let known = store.mappings().await?;
        for (mapping, former) in renamed().filter(|(_, former)| known.contains(former)) {
            let name = &mapping.full_name;
            if !is_in_use(store, name).await? {
                names.former.insert(name.clone(), former);
            } else if is_in_use(store, &former).await? {
                let why = format!("`{former}` has links in the state, and `{name}` has links of its own there");
                names.refused.insert(name.clone(), why);
            }
        }
        Ok(names)
    }

    /// The name that the state knows a mapping by.
    pub(super) fn of<'n>(&'n self, name: &'n str) -> &'n str {
        self.former.get(name).map_or(name, String::as_str)
    }

    /// Why a mapping cannot run under its name, where it cannot.
    pub(super) fn refusal(&self, mapping: &Mapping) -> Option<Diagnostic> {
        let why = self.refused.get(&mapping.full_name)?;
        let was = mapping.was.as_ref()?;
        let help = "one of them has to go, since links are one to one: leave `was` out and forget the former ones with \
                    `engine reset PATH FORMER_NAME --links`, or forget those of the present name to take the former over";
        Some(Diagnostic::error(Code::SAME_NAME, &was.place, why.clone()).help(help))
    }
}

impl Systems<'_> {
    /// Has the state know a mapping by the name that it has now.
    pub(super) async fn take_over_name(&mut self, mapping: &Mapping, store: &dyn Store) -> Result<(), Failure> {
        let name = &mapping.full_name;
        let Some(former) = self.names.former.get(name) else { return Ok(()) };
        match store.rename(former, name).await {
            Ok(()) => {
                tracing::info!(mapping = name, former, "links, cursors and history of the former name are taken over");
                self.names.former.remove(name);
            }
            // Whoever works under the former name has the links.
            Err(error @ StoreError::Leased(_)) => {
                self.names.refused.insert(name.clone(), error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// It has links, or writes that may have made some.
async fn is_in_use(store: &dyn Store, mapping: &str) -> Result<bool, StoreError> {
    Ok(store.count_links(mapping).await? > 0 || !store.open_intents(mapping).await?.is_empty())
}
