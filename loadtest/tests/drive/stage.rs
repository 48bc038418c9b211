//! A server of its own for each test, and three users who speak to each other through it.

use std::{num::NonZeroU32, ops::Deref, time::Duration};

use client::Roots;
use loadtest::{
    cluster::{self, LocalCluster, Minter, Settings, TokenKey},
    driver::posthorn::{self, Posthorn},
};
use tempfile::TempDir;

use crate::trio::{self, Trio};

pub(crate) struct Stage {
    pub(crate) cluster: LocalCluster,
    trio: Trio,
    _folder: TempDir,
}

impl Stage {
    /// Starts a server; nobody is connected yet.
    pub(crate) async fn open(devices_per_socket: u32) -> Self {
        let posthorn = cluster::posthorn(None).expect("`cargo build -p node` comes first");
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            posthorn,
            folder: folder.path().to_owned(),
            cluster: trio::scenario().cluster,
            engines: None,
        };
        let cluster = LocalCluster::start(&settings).await.unwrap();
        let target = cluster.target();
        let key = TokenKey::read(&target.token_key_file).unwrap();
        let mut settings = posthorn::Settings::new(
            target.servers.clone(),
            target.server_name.clone(),
            Roots::from_pem(&std::fs::read(&target.ca_file).unwrap()).unwrap(),
            Minter::new(key, target.identity.clone()),
            trio::RUN,
        );
        settings.devices_per_socket = NonZeroU32::new(devices_per_socket).unwrap();
        settings.close_within = Duration::from_millis(300);
        let trio = Trio::new(|population| Box::new(Posthorn::new(settings, population)));
        Self { cluster, trio, _folder: folder }
    }
}

impl Deref for Stage {
    type Target = Trio;

    fn deref(&self) -> &Trio {
        &self.trio
    }
}
