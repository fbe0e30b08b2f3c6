//! New rows by COPY, straight into the table.

use futures::TryFutureExt;

use super::super::write::Form;
use super::encode;
use super::write::Batch;
use crate::connector::Change;

/// COPY lines are sent in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;

impl Batch<'_> {
    /// The table may show a value otherwise than it was sent; COPY does not tell.
    pub(super) fn may_restate(&self, form: &Form) -> bool {
        let mut slots = self.object.access.key.iter().chain(&form.set);
        slots.any(|slot| self.object.columns[*slot].native.restates)
    }

    /// COPY straight into the table; `false`, and nothing done, where a record
    /// would not go in.
    pub(super) async fn copy(
        &mut self,
        changes: &[Change],
        form: &Form,
        members: &[usize],
    ) -> Result<bool, sqlx::Error> {
        let slots: Vec<usize> = self.object.access.key.iter().chain(&form.set).copied().collect();
        if slots.is_empty() {
            return Ok(false);
        }
        let sql = format!("COPY {} ({}) FROM STDIN", self.object.selection.table, self.object.names(&slots));
        self.savepoint().await?;
        match self.send(&sql, changes, &slots, members).await {
            Ok(()) => {
                let xmin = self.object.xmin(&mut self.lease, &changes[members[0]].key).await?;
                self.release().await?;
                self.created.extend(xmin);
                Ok(true)
            }
            Err(error) => self.undo(error).await.map(|_| false),
        }
    }

    /// The lines of a COPY.
    async fn send(
        &mut self,
        sql: &str,
        changes: &[Change],
        slots: &[usize],
        members: &[usize],
    ) -> Result<(), sqlx::Error> {
        let connections = &self.object.connections;
        let mut copy = connections.answer(self.lease.copy_in_raw(sql)).await?;
        let mut lines = String::with_capacity(PIECE + PIECE / 4);
        for index in members {
            let change = &changes[*index];
            let values = change.key.iter().chain(change.set.iter().map(|(_, value)| value));
            for (position, (slot, value)) in slots.iter().zip(values).enumerate() {
                if position > 0 {
                    lines.push('\t');
                }
                encode::copy_field(&self.object.columns[*slot].native.base, value, &mut lines);
            }
            lines.push('\n');
            if lines.len() >= PIECE {
                connections.answer(copy.send(lines.as_bytes()).map_ok(drop)).await?;
                lines.clear();
            }
        }
        connections.answer(copy.send(lines.as_bytes()).map_ok(drop)).await?;
        connections.answer(copy.finish()).await.map(drop)
    }
}
