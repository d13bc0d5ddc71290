//! As much BSON as the backend needs: a writer, and a walk over a document's top-level fields.

pub const STRING: u8 = 2;

/// Writes the fields of one document.
pub struct Writer {
    bytes: Vec<u8>,
}

/// The document whose fields `fill` writes.
pub fn document(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer { bytes: vec![0; 4] };
    fill(&mut writer);
    writer.bytes.push(0);
    let length = (writer.bytes.len() as i32).to_le_bytes();
    writer.bytes[..4].copy_from_slice(&length);
    writer.bytes
}

impl Writer {
    fn field(&mut self, kind: u8, name: &str, value: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.bytes.extend_from_slice(value);
    }

    pub fn double(&mut self, name: &str, value: f64) {
        self.field(1, name, &value.to_le_bytes());
    }

    pub fn string(&mut self, name: &str, value: &str) {
        self.field(STRING, name, &(value.len() as i32 + 1).to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
    }

    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.field(3, name, &document(fill));
    }

    pub fn raw_object(&mut self, name: &str, document: &[u8]) {
        self.field(3, name, document);
    }

    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.field(4, name, &document(fill));
    }

    pub fn binary(&mut self, name: &str, value: &[u8]) {
        self.field(5, name, &(value.len() as i32).to_le_bytes());
        self.bytes.push(0);
        self.bytes.extend_from_slice(value);
    }

    pub fn object_id(&mut self, name: &str, value: &[u8; 12]) {
        self.field(7, name, value);
    }

    pub fn boolean(&mut self, name: &str, value: bool) {
        self.field(8, name, &[value as u8]);
    }

    pub fn date(&mut self, name: &str, milliseconds: i64) {
        self.field(9, name, &milliseconds.to_le_bytes());
    }

    pub fn null(&mut self, name: &str) {
        self.field(10, name, &[]);
    }

    pub fn int32(&mut self, name: &str, value: i32) {
        self.field(16, name, &value.to_le_bytes());
    }

    pub fn timestamp(&mut self, name: &str, value: u64) {
        self.field(17, name, &value.to_le_bytes());
    }

    pub fn int64(&mut self, name: &str, value: i64) {
        self.field(18, name, &value.to_le_bytes());
    }
}

/// The top-level fields of `document` as (type, name, value); it ends early at a type it does not know.
pub fn fields(document: &[u8]) -> Fields<'_> {
    Fields { rest: document.get(4..).unwrap_or(&[]) }
}

pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, after) = self.rest.split_first().filter(|(kind, _)| **kind != 0)?;
        let end = after.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&after[..end]).ok()?;
        let value = &after[end + 1..];
        let stated = || Some(i32::from_le_bytes(value.get(..4)?.try_into().ok()?) as usize);
        let length = match kind {
            6 | 10 | 127 | 255 => 0,
            8 => 1,
            16 => 4,
            1 | 9 | 17 | 18 => 8,
            7 => 12,
            19 => 16,
            2 | 13 | 14 => 4 + stated()?,
            5 => 5 + stated()?,
            3 | 4 | 15 => stated()?,
            _ => return None,
        };
        self.rest = value.get(length..)?;
        Some((kind, name, &value[..length]))
    }
}

/// The text of a string value.
pub fn text(value: &[u8]) -> &str {
    value.get(4..value.len().saturating_sub(1)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
}

/// A number of any type as an integer; 0 for what is no number.
pub fn whole_number(kind: u8, value: &[u8]) -> i64 {
    match (kind, value.len()) {
        (16, 4) => i32::from_le_bytes(value.try_into().unwrap()).into(),
        (18, 8) => i64::from_le_bytes(value.try_into().unwrap()),
        (1, 8) => f64::from_le_bytes(value.try_into().unwrap()) as i64,
        _ => 0,
    }
}
