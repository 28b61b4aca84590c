//! The settings of the whole network: signed where the authority key is, and kept in the data folder.

use bytes::Bytes;
use potluck_base::NodeId;
use potluck_node::settings::{SettingChange, SettingsView};
use potluck_node::{Command, Reply};
use potluck_wire::NetworkSettings;

use super::{Membership, MembershipError};
use crate::handle::Handle;

impl Membership {
    /// The nodes that hold the authority key, as far as this one knows: those that admitted it.
    #[must_use]
    pub fn issuers(&self) -> Vec<NodeId> {
        let network = &self.shared.network.id;
        self.shared.issuers.iter().map(|issuer| issuer.public_key.node_id(network)).collect()
    }

    async fn sign_settings(&self, settings: NetworkSettings) -> Result<Bytes, MembershipError> {
        let network = self.shared.network.id;
        self.with_issuer(move |issuer, _| Ok(settings.sign(issuer.authority(), &network)?)).await
    }

    /// Writes the newest settings down. The last of several calls leaves the newest.
    pub(super) fn save_settings(&self, settings: Bytes) {
        *self.shared.settings.lock() = Some(settings);
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let _saving = this.shared.saving_settings.lock();
            let newest = this.shared.settings.lock().take();
            let saved = newest.zip(this.shared.folder.as_ref());
            if let Some(Err(error)) = saved.map(|(bytes, folder)| folder.save_settings(&bytes)) {
                tracing::warn!(code = "settings.save", %error, "cannot save the settings of the network");
            }
        });
    }
}

impl Handle {
    /// Changes one setting of the whole network: signs the next settings, goes by them and tells all
    /// members. Needs the authority key. Gives the settings then in force.
    ///
    /// # Errors
    /// [`MembershipError`]. After [`MembershipError::NewerSettings`] the change is not in force: another
    /// machine with the authority key was first.
    pub async fn set_network(
        &self,
        change: SettingChange,
    ) -> Result<SettingsView, MembershipError> {
        let membership = self.membership().map_err(|_| MembershipError::NoSettings)?;
        if !membership.is_issuer() {
            return Err(MembershipError::NotSetter(membership.issuers()));
        }
        let proposed = match self.command(Command::ProposeSetting(change)).await {
            Ok(Reply::Proposed(proposed)) => proposed?,
            _ => return Err(MembershipError::Stopped),
        };
        let bytes = membership.sign_settings(proposed).await?;
        match self.command(Command::TakeSettings(bytes)).await {
            Ok(Reply::SettingsTaken(taken)) => match taken? {
                Some(_) => {}
                None => return Err(MembershipError::NewerSettings),
            },
            _ => return Err(MembershipError::Stopped),
        }
        match self.command(Command::Settings).await {
            Ok(Reply::Settings(view)) => Ok(*view),
            _ => Err(MembershipError::Stopped),
        }
    }
}
