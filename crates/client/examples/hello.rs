//! Sends a note to oneself and prints everything that comes in up to it.
//!
//! `hello SERVER:PORT CA.pem TOKEN-FILE STORE-FOLDER [NAME-IN-THE-CERTIFICATE]`

use client::{Address, Client, Config, Event, Roots, Servers, StaticToken, Via, store::FileStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, server, ca, token, store, rest @ ..] = &arguments[..] else {
        return Err("hello SERVER:PORT CA.pem TOKEN-FILE STORE-FOLDER [NAME]".into());
    };
    let servers = Servers::Quic {
        addresses: vec![server.clone()],
        server_name: rest.first().cloned().unwrap_or_else(|| "localhost".into()),
        via: Via::Own(Roots::from_pem(&std::fs::read(ca)?)?),
    };
    let token = StaticToken(std::fs::read_to_string(token)?.trim().to_owned());
    let client = Client::connect(Config::new(servers, token, FileStore::open(store)?)).await?;

    let me = client.connected().await?;
    let sent = client.send(Address::User(me), "hello").await?; // durable from here on

    let mut inbox = client.inbox();
    while let Some(event) = inbox.next().await {
        let Event::Item(item) = event else { continue };
        let text = String::from_utf8_lossy(item.payload().map_or(b"(a change)", |text| text));
        println!("{} {}: {text}", item.seq, item.from());
        item.ack(); // processed: it never comes again
        if item.item.id.send == sent.id {
            break;
        }
    }
    client.close().await;
    Ok(())
}
