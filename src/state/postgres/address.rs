//! The address of a state: its server, and the schema its tables lie in.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::{StoreError, lease};

/// The schema where the address names none.
const SCHEMA: &str = "engine";

/// What of an address is ours, and not the server's to see.
const SCHEMA_OPTION: &str = "options[search_path]";
const LEASE_OPTION: &str = "lease";

#[derive(Debug, Clone)]
pub(super) struct Address {
    pub options: PgConnectOptions,
    pub schema: String,
    /// How long a lease lasts without being extended.
    pub lease: Duration,
}

impl Address {
    /// Reads `postgres://…`. `?options[search_path]=NAME` chooses the schema,
    /// `?lease=NUMBER` the milliseconds a lease lasts, which the tests of
    /// leases shorten: engines that share a state must agree on it. The words
    /// of an error never repeat the address: it may hold a password.
    pub(super) fn read(url: &Url) -> Result<Address, StoreError> {
        let named = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
        };
        let schema = named(SCHEMA_OPTION).unwrap_or_else(|| SCHEMA.to_owned());
        let lease = match named(LEASE_OPTION).map(|millis| millis.parse()) {
            None => lease::LEASE,
            Some(Ok(millis @ 100..)) => Duration::from_millis(millis),
            Some(_) => {
                return Err(StoreError::Broken("`lease` is a number of milliseconds, 100 or more".into()));
            }
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') || !schema.chars().all(plain) {
            let words = "`options[search_path]` names one schema, in small letters, digits and `_`";
            return Err(StoreError::Broken(words.into()));
        }
        let mut kept = url.clone();
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != SCHEMA_OPTION && name != LEASE_OPTION)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        kept.set_query(None);
        if !others.is_empty() {
            kept.query_pairs_mut().extend_pairs(others);
        }
        let options = PgConnectOptions::from_url(&kept)
            .map_err(|error| StoreError::Broken(format!("its address cannot be read: {error}")))?;
        // A plan that was made for an empty table must not serve a full one:
        // each batch is planned anew, by indexes. An engine that stands still
        // in a transaction keeps others from the mapping no longer than its
        // lease would.
        let patience = lease.as_millis();
        let options = options
            .application_name("engine")
            .statement_cache_capacity(256)
            .options([
                ("search_path", schema.as_str()),
                ("plan_cache_mode", "force_custom_plan"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("enable_seqscan", "off"),
                ("jit", "off"),
            ])
            .options([
                ("idle_in_transaction_session_timeout", patience.to_string()),
                ("lock_timeout", (patience * 2).to_string()),
            ])
            .disable_statement_logging();
        Ok(Address { options, schema, lease })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Address, StoreError> {
        Address::read(&Url::parse(&format!("postgres://engine@localhost/states{query}")).unwrap())
    }

    #[test]
    fn what_is_ours_is_read() {
        let plain = read("").unwrap();
        assert_eq!((plain.schema.as_str(), plain.lease), (SCHEMA, lease::LEASE));

        let ours = read("?options[search_path]=one_2&lease=100&application_name=x").unwrap();
        assert_eq!((ours.schema.as_str(), ours.lease), ("one_2", Duration::from_millis(100)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for query in ["?lease=99", "?lease=-1", "?lease=soon", "?options[search_path]=One", "?options[search_path]=a,b"]
        {
            assert!(matches!(read(query), Err(StoreError::Broken(_))), "{query}");
        }
    }
}
