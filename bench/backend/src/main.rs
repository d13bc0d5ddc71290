//! A MongoDB that knows its answers by heart: it speaks enough of the wire protocol for a driver to be content and
//! looks at nothing but the command's name and collection, so that what is measured is whoever stands in front of it.
//!
//! `canned-backend PORT` listens on 127.0.0.1 and calls itself a replica set of one member. A read of the collection
//! `people_N` answers N documents of about 400 bytes, that of any other none; a write says that all was written. Every connection has
//! its own thread; standard library only.

mod bson;

use bson::{fields, Writer};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;
const MORE_TO_COME: u32 = 2;
const LARGEST_MESSAGE: usize = 48_000_000;

fn main() -> io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(27117);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening on 127.0.0.1:{port}");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || drop(Session::new(port).serve(stream)));
    }
    Ok(())
}

/// One connection, with the replies it has given so far.
struct Session {
    port: u16,
    replies: HashMap<(String, String), Vec<u8>>,
}

/// What matters of a command.
struct Command {
    name: String,
    collection: String,
    database: String,
    limit: i64,
    documents: i32,
}

impl Session {
    fn new(port: u16) -> Self {
        Session { port, replies: HashMap::new() }
    }

    fn serve(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut output = stream.try_clone()?;
        let mut input = BufReader::with_capacity(64 * 1024, stream);
        let mut message = Vec::new();
        loop {
            let mut header = [0u8; 16];
            input.read_exact(&mut header)?;
            let length = i32_at(&header, 0) as usize;
            if !(16..=LARGEST_MESSAGE).contains(&length) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            message.resize(length - 16, 0);
            input.read_exact(&mut message)?;
            let request_id = &header[4..8];
            match i32_at(&header, 12) {
                OP_QUERY => output.write_all(&wrapped_in_reply(&self.hello(), request_id))?,
                OP_MSG => {
                    let silent = i32_at(&message, 0) as u32 & MORE_TO_COME != 0;
                    let command = Command::parse(&message);
                    let reply = self.reply(&command);
                    reply[8..12].copy_from_slice(request_id);
                    if !silent {
                        output.write_all(reply)?;
                    }
                }
                _ => return Err(io::ErrorKind::Unsupported.into()),
            }
        }
    }

    /// The whole message that answers `command`, its request id still to be put in.
    fn reply(&mut self, command: &Command) -> &mut Vec<u8> {
        let size = command.size();
        let key = match command.name.as_str() {
            "find" | "aggregate" | "listIndexes" => {
                (format!("{}.{}", command.database, command.collection), size.to_string())
            }
            "insert" | "delete" => (command.name.clone(), command.documents.to_string()),
            _ => (command.name.clone(), String::new()),
        };
        if !self.replies.contains_key(&key) {
            let body = self.body(command, size);
            self.replies.insert(key.clone(), wrapped_in_message(&body));
        }
        self.replies.get_mut(&key).expect("it was put there")
    }

    fn body(&self, command: &Command, size: usize) -> Vec<u8> {
        match command.name.as_str() {
            "hello" | "isMaster" | "ismaster" => self.hello(),
            "buildInfo" | "buildinfo" => ok(|w| w.string("version", "8.0.0")),
            "find" | "aggregate" | "listIndexes" => ok(|w| {
                w.object("cursor", |w| {
                    w.array("firstBatch", |w| (0..size).for_each(|n| w.raw_object(&n.to_string(), &person(n))));
                    w.int64("id", 0);
                    w.string("ns", &format!("{}.{}", command.database, command.collection));
                })
            }),
            "getMore" => ok(|w| {
                w.object("cursor", |w| {
                    w.array("nextBatch", |_| ());
                    w.int64("id", 0);
                    w.string("ns", &command.database);
                })
            }),
            "createIndexes" => ok(|w| {
                w.boolean("createdCollectionAutomatically", false);
                w.int32("numIndexesBefore", 1);
                w.int32("numIndexesAfter", 2);
            }),
            "insert" | "delete" => ok(|w| w.int32("n", command.documents)),
            "update" => ok(|w| {
                w.int32("n", 1);
                w.int32("nModified", 1);
            }),
            "findAndModify" => ok(|w| w.raw_object("value", &person(0))),
            _ => ok(|_| ()),
        }
    }

    fn hello(&self) -> Vec<u8> {
        let address = format!("127.0.0.1:{}", self.port);
        ok(|w| {
            w.boolean("helloOk", true);
            w.boolean("isWritablePrimary", true);
            w.boolean("ismaster", true);
            w.boolean("secondary", false);
            w.string("setName", "canned");
            w.int32("setVersion", 1);
            w.array("hosts", |w| w.string("0", &address));
            w.string("primary", &address);
            w.string("me", &address);
            w.int32("maxBsonObjectSize", 16 * 1024 * 1024);
            w.int32("maxMessageSizeBytes", LARGEST_MESSAGE as i32);
            w.int32("maxWriteBatchSize", 100_000);
            w.int32("logicalSessionTimeoutMinutes", 30);
            w.int32("minWireVersion", 0);
            w.int32("maxWireVersion", 25);
            w.boolean("readOnly", false);
        })
    }
}

impl Command {
    fn parse(message: &[u8]) -> Self {
        let mut command = Command {
            name: String::new(),
            collection: String::new(),
            database: "test".into(),
            limit: 0,
            documents: 0,
        };
        let mut position = 4;
        while position < message.len() {
            let length = i32_at(message, position + 1) as usize;
            let section = &message[position + 1..(position + 1 + length).min(message.len())];
            match message[position] {
                0 => command.read_body(section),
                1 => command.documents += documents_in_sequence(section),
                _ => break,
            }
            position += 1 + length;
        }
        command.documents = command.documents.max(1);
        command
    }

    fn read_body(&mut self, document: &[u8]) {
        for (kind, name, value) in fields(document) {
            match name {
                _ if self.name.is_empty() => {
                    self.name = name.to_owned();
                    if kind == bson::STRING {
                        self.collection = bson::text(value).to_owned();
                    }
                }
                "$db" => self.database = bson::text(value).to_owned(),
                "limit" => self.limit = bson::whole_number(kind, value),
                "documents" | "deletes" => self.documents += fields(value).count() as i32,
                _ => (),
            }
        }
    }

    /// How many documents a read answers: what the collection's name says, within the limit.
    fn size(&self) -> usize {
        let named = self.collection.rsplit('_').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        match self.limit.unsigned_abs() as usize {
            0 => named,
            limit => limit.min(named),
        }
    }
}

fn documents_in_sequence(section: &[u8]) -> i32 {
    let mut position = 4 + section[4..].iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
    let mut count = 0;
    while position < section.len() {
        position += i32_at(section, position) as usize;
        count += 1;
    }
    count
}

/// A reply: what `fill` writes, `ok: 1` and the cluster time that a replica set adds to everything.
fn ok(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let now = 1_760_000_000_u64 << 32 | 1;
    bson::document(|w| {
        fill(w);
        w.double("ok", 1.0);
        w.object("$clusterTime", |w| {
            w.timestamp("clusterTime", now);
            w.object("signature", |w| {
                w.binary("hash", &[0; 20]);
                w.int64("keyId", 0);
            });
        });
        w.timestamp("operationTime", now);
    })
}

fn person(number: usize) -> Vec<u8> {
    let mut id = [0x65, 0x43, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    id[8..].copy_from_slice(&(number as u32).to_be_bytes());
    bson::document(|w| {
        w.object_id("_id", &id);
        w.string("name", "Zoë Hansen-Okafor");
        w.string("email", "zoe.hansen@example.org");
        w.int32("age", 18 + (number % 60) as i32);
        w.double("rating", 3.5 + (number % 10) as f64 / 16.0);
        w.boolean("member", number % 2 == 0);
        w.date("since", 1_600_000_000_000 + number as i64 * 86_400_000);
        w.int64("points", 5_000_000_000 + number as i64);
        w.object("home", |w| {
            w.string("street", "Elm Grove 7");
            w.string("town", "Trondheim");
            w.string("code", "7010");
            w.double("north", 63.43049);
            w.double("east", 10.39506);
        });
        w.array("labels", |w| {
            w.string("0", "early");
            w.string("1", "newsletter");
            w.int32("2", 12);
        });
        w.null("left");
        w.string("about", "Keeps bees, reads \"old\" maps and repairs bicycles on the weekend, mostly her own.");
    })
}

fn wrapped_in_message(body: &[u8]) -> Vec<u8> {
    let mut message = header(16 + 5 + body.len(), OP_MSG);
    message.extend_from_slice(&[0; 5]);
    message.extend_from_slice(body);
    message
}

fn wrapped_in_reply(body: &[u8], request_id: &[u8]) -> Vec<u8> {
    let mut message = header(16 + 20 + body.len(), OP_REPLY);
    message[8..12].copy_from_slice(request_id);
    message.extend_from_slice(&8_i32.to_le_bytes());
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&1_i32.to_le_bytes());
    message.extend_from_slice(body);
    message
}

fn header(length: usize, operation: i32) -> Vec<u8> {
    let mut message = Vec::with_capacity(length);
    for number in [length as i32, 0, 0, operation] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message
}

fn i32_at(bytes: &[u8], position: usize) -> i32 {
    i32::from_le_bytes(bytes[position..position + 4].try_into().expect("four bytes"))
}
