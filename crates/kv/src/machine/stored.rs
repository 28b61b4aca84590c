//! Results of storage operations go to the parts that asked for them.

use potluck_base::Instant;
use potluck_record::{OpId, StorageFailure, StorageReply};

use super::Kv;
use crate::core::{Merging, OpPurpose};
use crate::difference::Remedies;
use crate::storage;
use crate::survey::SurveyEvent;

impl Kv {
    pub(super) fn on_stored(&mut self, now: Instant, id: OpId, reply: StorageReply) {
        if matches!(reply, StorageReply::Failed(StorageFailure::Full | StorageFailure::Quota)) {
            self.core.local.stamps.press(now);
        }
        self.on_replica(now, id, &reply);
        let Some(purpose) = self.core.take_op(id) else { return };
        match purpose {
            OpPurpose::CommandLoad(id, place) => {
                self.on_survey(now, id, SurveyEvent::Local(place, reply));
            }
            OpPurpose::Names(id) => {
                self.with_names(id, |listing, core| listing.on_local(core, reply));
            }
            OpPurpose::PutTurn(id) => {
                self.with_put(now, id, |put, core| put.on_own(core, now, reply));
            }
            OpPurpose::PutOwn(id) => {
                self.renewal.on_written(now);
                self.with_put(now, id, |put, core| put.on_own_merged(core, now, &reply));
            }
            OpPurpose::PutReplica(id) => {
                self.with_put(now, id, |put, core| put.on_replica_merged(core, now, &reply));
            }
            OpPurpose::TakenBack | OpPurpose::CertificatesKept => {}
            OpPurpose::CertificateScan => self.core.on_certificates(reply),
            OpPurpose::Serve(id, index) => {
                if let Some(wanted) = self.serves.on_stored(&mut self.core, id, index, reply) {
                    self.pulls.add(&mut self.core, wanted);
                }
            }
            OpPurpose::Pulled(key, offered) => {
                if let (Some(offered), StorageReply::Merged { digest, .. }) = (offered, &reply) {
                    self.repair.on_pulled(&self.core, now, key, offered, *digest);
                }
            }
            OpPurpose::SurplusPage => {
                let session = self.difference.session_key(&self.core);
                self.surplus.on_page(&mut self.core, now, session, &reply);
            }
            OpPurpose::SurplusDropped => {
                self.core.stats.surplus_dropped += u64::from(reply == StorageReply::Removed);
            }
            OpPurpose::Index => self.difference.on_indexed(&mut self.core, now, &reply),
            OpPurpose::Difference(number) => {
                let remedies = Remedies { repair: &mut self.repair, pulls: &mut self.pulls };
                self.difference.on_stored(&mut self.core, now, number, reply, remedies);
            }
            OpPurpose::RefillScan => {
                self.refill.on_scanned(&self.core, now, &mut self.repair, &reply);
            }
            OpPurpose::RenewalScan => self.renewal.on_page(&self.core, now, reply),
            OpPurpose::CensusScan => self.renewal.on_census_page(&self.core, now, &reply),
            OpPurpose::WatchLoad(key) => {
                let envelopes = storage::envelopes(reply).unwrap_or_default();
                self.watches.on_own_loaded(&mut self.core, now, key, envelopes);
            }
            OpPurpose::LeaseScan(serve) => self.holder.on_scanned(&mut self.core, serve, &reply),
            OpPurpose::RepairScan(run) => self.repair.on_scanned(&mut self.core, now, run, reply),
            OpPurpose::Expire => {
                if let StorageReply::Expired { dropped, more } = reply {
                    self.core.stats.expired += u64::from(dropped);
                    if more {
                        self.sweep(now);
                    }
                }
            }
        }
    }

    /// What the reply means for the replica of a key: it changed, or it could not be read.
    fn on_replica(&mut self, now: Instant, id: OpId, reply: &StorageReply) {
        if let Some(Merging { key, internal }) = self.core.take_merging(id)
            && let StorageReply::Merged { outcome, digest } = reply
            && outcome.changed()
        {
            if !internal {
                let wall = self.core.last_wall();
                self.core.local.feed.push(wall, key, *digest);
            }
            self.repair.on_changed(&self.core, now, key, *digest);
            self.holder.on_changed(&mut self.core, now, key, *digest);
            self.watches.on_own_changed(&mut self.core, key, *digest);
        }
        if let Some(key) = self.core.take_loading(id)
            && *reply == StorageReply::Failed(StorageFailure::Corrupt)
        {
            self.pulls.heal(&mut self.core, key);
        }
    }
}
