//! Tables in XLSX: what is read of them, and what is refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::*;

const MEDIA: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// What a test's archive says of a member that is not so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    Length(u32),
    Checksum,
    Locked,
    Method,
}

/// An archive of members that are deflated.
fn archive(members: &[(&str, &[u8])], lie: Lie) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(content).unwrap();
        let packed = packed.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let crc = crc.sum() ^ u32::from(lie == Lie::Checksum);
        let length = match lie {
            Lie::Length(length) => length,
            _ => u32::try_from(content.len()).unwrap(),
        };
        let flags = u16::from(lie == Lie::Locked);
        let method = if lie == Lie::Method { 12_u16 } else { 8 };
        let mut described = Vec::new();
        described.extend([20_u16, flags, method, 0, 0].map(u16::to_le_bytes).concat());
        let packed_length = u32::try_from(packed.len()).unwrap();
        described.extend([crc, packed_length, length].map(u32::to_le_bytes).concat());
        described.extend([u16::try_from(name.len()).unwrap(), 0].map(u16::to_le_bytes).concat());
        let local = u32::try_from(bytes.len()).unwrap();
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&described);
        bytes.extend(name.as_bytes());
        bytes.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&described);
        directory.extend([0; 10]);
        directory.extend(local.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = u32::try_from(bytes.len()).unwrap();
    let count = u16::try_from(members.len()).unwrap();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].map(u16::to_le_bytes).concat());
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

const BOOK: &str = r#"<?xml version="1.0"?><workbook xmlns:r="r"><workbookPr/><sheets>
    <sheet name="Hidden" sheetId="1" state="hidden" r:id="rId9"/>
    <sheet name="People" sheetId="2" r:id="rId1"/><sheet name="More" sheetId="3" r:id="rId2"/>
    </sheets></workbook>"#;
const RELATIONS: &str = r#"<Relationships>
    <Relationship Id="rId9" Type="http://x/worksheet" Target="worksheets/hidden.xml"/>
    <Relationship Id="rId3" Type="http://x/sharedStrings" Target="sharedStrings.xml"/>
    <Relationship Id="rId1" Type="http://x/worksheet" Target="/xl/worksheets/sheet1.xml"/>
    </Relationships>"#;

/// A workbook whose first shown sheet has these rows, and these texts to share.
fn book(rows: &str, texts: &str) -> Vec<u8> {
    book_of(BOOK, rows, texts, Lie::None)
}

fn book_of(book: &str, rows: &str, texts: &str, lie: Lie) -> Vec<u8> {
    let sheet = format!(
        "<?xml version=\"1.0\"?><worksheet><cols><col min=\"1\"/></cols><sheetData>{rows}\
         </sheetData><f>1</f></worksheet>"
    );
    let texts = format!("<sst>{texts}</sst>");
    let members: [(&str, &[u8]); 4] = [
        ("xl/workbook.xml", book.as_bytes()),
        ("xl/_rels/workbook.xml.rels", RELATIONS.as_bytes()),
        ("xl/sharedStrings.xml", texts.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ];
    archive(&members, lie)
}

fn inline(place: &str, text: &str) -> String {
    format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
}

const HEAD: &str = "<row r=\"2\"><c r=\"A2\" t=\"s\"><v>0</v></c><c r=\"C2\" t=\"s\"><v>1</v></c>\
    <c r=\"D2\" t=\"str\"><v>Issue Date</v></c></row>";
const TEXTS: &str = "<si><t>title</t></si><si><r><t>ty</t></r><r><t>pe</t></r><rPh><t>x</t></rPh></si>\
    <si><t xml:space=\"preserve\">Ben &amp; J&#xe9;r&#233;my</t></si><si/>";

/// The cells of a row that has a title, a type and a date.
fn texts(line: &Line) -> [&str; 3] {
    let cells = &line.cells.as_ref().unwrap().0;
    [cells[2].as_str(), cells[3].as_str(), cells[6].as_str()]
}

#[test]
fn the_first_shown_sheet_is_read_with_all_the_ways_to_write_a_cell() {
    let rows = [
        "<row r=\"1\"/>",
        HEAD,
        "<row r=\"3\"><c r=\"A3\" t=\"s\"><v>2</v></c><c r=\"C3\" t=\"inlineStr\"><is><r><t>Edu</t>\
         </r><r><t><![CDATA[cation]]></t></r></is></c><c r=\"D3\" s=\"1\"><v>36585</v></c></row>",
        "<row r=\"4\"><c r=\"A4\" t=\"s\"><v>3</v></c><c r=\"C4\"/></row>",
        "<row><c><v>42</v></c><c/><c t=\"str\"><v> Law</v></c><c t=\"d\"><v>2020-05-31T00:00</v></c>\
         </row>",
    ];
    let workbook = book(&rows.concat(), TEXTS);
    for piece in [1, 7, 100_000] {
        let lines = read(Format::Xlsx, &workbook, piece).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(texts(&lines[0]), ["Ben & J\u{e9}r\u{e9}my", "Education", "2000-02-29"]);
        assert_eq!(texts(&lines[1]), ["42", " Law", "2020-05-31"]);
        assert_eq!((lines[0].place, lines[1].place), (1, 2));
    }
    let old = BOOK.replace("<workbookPr/>", "<workbookPr date1904=\"1\"/>");
    let rows = format!("{HEAD}<row><c r=\"D3\"><v>43830</v></c></row>");
    let lines = read(Format::Xlsx, &book_of(&old, &rows, TEXTS, Lie::None), 999).unwrap();
    assert_eq!(texts(&lines[0])[2], "2024-01-01");
}

/// Made by another program (openpyxl).
const PEOPLE: &[u8] = include_bytes!("people.xlsx");

#[test]
fn a_workbook_of_another_program_is_read() {
    let lines = read(Format::Xlsx, PEOPLE, 1000).unwrap();
    let cells = |place: usize| lines[place].cells.as_ref().unwrap().0.each_ref().map(|c| &**c);
    let notes = "a & b <c>\nsecond line";
    assert_eq!(
        cells(0),
        [
            "HR-1",
            "Anne M\u{fc}ller",
            "Bachelor",
            "Education",
            "University X",
            "20240001",
            "2024-02-29",
            "",
            "",
            "",
            "",
            "",
            notes
        ]
    );
    assert_eq!((cells(1)[5], cells(1)[6]), ("0042", "1999-12-31"));
    assert_eq!(lines[2].cells.as_ref().unwrap_err().code, "formula");
    assert_eq!(lines.len(), 3);
}

#[test]
fn what_is_wrong_with_a_row_is_said_of_it_and_of_no_other() {
    let fine = format!("<row>{}</row>", inline("A9", "Bachelor"));
    for (row, code, field) in [
        ("<c r=\"A1\"><f>1+1</f><v>2</v></c>".to_owned(), "formula", Some("title")),
        ("<c r=\"A1\" t=\"str\"><f>A9</f></c>".to_owned(), "formula", Some("title")),
        ("<c r=\"C1\" t=\"b\"><v>1</v></c>".to_owned(), "invalid", Some("type")),
        ("<c r=\"C1\" t=\"e\"><v>#REF!</v></c>".to_owned(), "invalid", Some("type")),
        (inline("B1", "x"), "wrong_columns", None),
        (inline("E1", "x"), "wrong_columns", None),
        (inline("A1", &"x".repeat(70_000)), "row_too_long", None),
    ] {
        let rows = format!("{HEAD}{fine}<row>{row}</row>{fine}");
        let lines = read(Format::Xlsx, &book(&rows, TEXTS), 5_000).unwrap();
        let found: Vec<_> = lines.iter().map(|line| line.cells.as_ref().err()).collect();
        assert_eq!((found.len(), found[0], found[2]), (3, None, None), "{code}");
        let problem = found[1].unwrap();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), (code, field));
    }
    // What is text here is looked at as every other text is: see `Cells::formula`.
    let rows = format!("{HEAD}<row>{}</row>", inline("A1", "=cmd()"));
    let lines = read(Format::Xlsx, &book(&rows, TEXTS), 5_000).unwrap();
    assert_eq!(lines[0].cells.as_ref().unwrap().formula(), Some("title"));
}

fn refused(workbook: &[u8]) -> (String, String) {
    let Err(error) = read(Format::Xlsx, workbook, 60_000) else { panic!("it is read") };
    (error.code().to_owned(), error.message().to_owned())
}

#[test]
fn what_is_no_workbook_is_refused_whole() {
    let rows = format!("{HEAD}<row>{}</row>", inline("A3", "x"));
    let whole = book(&rows, TEXTS);
    let cut = &whole[..whole.len() - 30];
    let with = |rows: &str| book(&format!("{HEAD}{rows}"), TEXTS);
    let lying = |lie| book_of(BOOK, &rows, TEXTS, lie);
    let empty = archive(&[("a", b"")], Lie::None);
    for (workbook, words) in [
        (b"PK".to_vec(), "no directory"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(), "password"),
        (cut.to_vec(), "no directory"),
        (empty, "xl/workbook.xml is not there"),
        (book_of("<workbook/>", &rows, TEXTS, Lie::None), "no sheet"),
        (book_of(&BOOK.replace("rId1", "rId7"), &rows, TEXTS, Lie::None), "not there"),
        (book_of("<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "", "", Lie::None), "document type"),
        (with("<row><c r=\"A3\" t=\"s\"><v>99</v></c></row>"), "text is not there"),
        (with("<row><c r=\"A3\" t=\"s\"><v>-1</v></c></row>"), "text is not there"),
        (with("<row><c r=\"3\"><v>1</v></c></row>"), "nowhere"),
        (with("<row><c r=\"B3\"/><c r=\"A3\"/></row>"), "order"),
        (with("<row><c r=\"XFE3\"/></row>"), "order"),
        (with("<row><c r=\"A3\"></row>"), "cannot be read"),
        (with("<row><c r=\"A3\"><v>&a;</v></c></row>"), "stands for nothing"),
        (lying(Lie::Length(3)), "longer than it says"),
        (lying(Lie::Length(900_000)), "not what it says"),
        (lying(Lie::Length(u32::MAX)), "unpack to more"),
        (lying(Lie::Checksum), "not what it says"),
        (lying(Lie::Locked), "password"),
        (lying(Lie::Method), "packed in a way"),
    ] {
        let (code, message) = refused(&workbook);
        assert_eq!(code, "invalid_xlsx", "{words}");
        assert!(message.contains(words), "{words}: {message}");
    }
    let unknown = "<row><c r=\"A1\" t=\"str\"><v>colour</v></c></row>";
    assert_eq!(refused(&book(unknown, "")).0, "invalid_fields");
    assert!(read(Format::Xlsx, &book("", ""), 9).unwrap().is_empty());
}

#[test]
fn a_bomb_is_refused_before_it_takes_memory() {
    // A text without an end, five hundred times as large as it comes.
    let (code, message) = refused(&book("", &format!("<si><t>{}", "x".repeat(30_000_000))));
    assert_eq!(code, "invalid_xlsx");
    assert!(message.contains("too long"), "{message}");
    // Many texts, none of which is too long.
    let text = format!("<si><t>{}</t></si>", "x".repeat(200_000));
    let (_, message) = refused(&book("", &text.repeat(150)));
    assert!(message.contains("texts have more"), "{message}");
    // One text that each row shares.
    let texts = format!("<si><t>title</t></si><si><t>{}</t></si>", "x".repeat(60_000));
    let head = "<row><c t=\"s\"><v>0</v></c></row>";
    let rows = "<row><c t=\"s\"><v>1</v></c></row>".repeat(1_200);
    let (code, _) = refused(&book(&format!("{head}{rows}"), &texts));
    assert_eq!(code, "payload_too_large");
    let (code, _) = refused(&vec![0; xlsx::PACKED_BYTES_MAX + 1]);
    assert_eq!(code, "payload_too_large");
}

/// A workbook of good rows, as programs that write row after row make them.
fn table_of(rows: i64) -> Vec<u8> {
    let head = ["reference", "subject", "title", "type", "issuer"];
    let cells = |row: &str, cells: [&str; 5]| {
        let cells = "ABCDE".chars().zip(cells);
        cells.map(|(at, text)| inline(&format!("{at}{row}"), text)).collect::<String>()
    };
    let mut sheet = format!("<row>{}</row>", cells("1", head));
    for row in 2..rows + 2 {
        let reference = format!("HR-{row}");
        let texts = [&*reference, "Anne", "Bachelor", "Education", "U"];
        sheet += &format!("<row>{}</row>", cells(&row.to_string(), texts));
    }
    book(&sheet, "")
}

#[test]
fn rows_are_handed_on_while_the_sheet_is_read() {
    let workbook = table_of(20_000);
    let mut reader = xlsx::Reader::new();
    reader.push(&workbook).unwrap();
    let (mut all, mut most) = (0, 0);
    let mut lines = Vec::new();
    while reader.more(&mut lines).unwrap() {
        most = most.max(lines.len());
        all += lines.drain(..).len();
    }
    assert_eq!(all + lines.len(), 20_000);
    assert!(most <= 1_000, "{most} rows were in memory at once");
}

platform::on_both_engines! { MIGRATIONS;
async fn a_workbook_is_a_table_as_well(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let request = format!("POST {BATCHES}?verifierId={}", desk.verifier());
    let send = async |query: &str, rows| {
        let request = format!("{request}{query}");
        let (status, text) = desk.client.media(&desk.eve, &request, (MEDIA, table_of(rows))).await;
        (status, serde_json::from_str::<Json>(&text).unwrap_or_else(|_| json!({ "code": text })))
    };
    let (status, answer) = send("&dryRun=true", 3).await;
    assert_eq!((status, &answer["estimate"]["good"]), (200, &json!(3)), "{answer}");
    let (status, answer) = send("", 5).await;
    assert_eq!(status, 202, "{answer}");
    desk.worker().drain().await.unwrap();
    desk.has_done(5).await;
    let (status, answer) = send("", 0).await;
    assert_eq!((status, &answer["code"]), (400, &json!("empty_table")));
    let (status, answer) = send("", ROWS_MAX + 1).await;
    assert_eq!((status, &answer["code"]), (400, &json!("too_many_rows")));
    let body = (MEDIA, "title,type\nx,y\n");
    let (status, code) = desk.client.media(&desk.eve, &request, body).await;
    assert_eq!((status, &*code), (400, "invalid_xlsx"));
    assert_eq!(desk.stage.count("batch_rows").await, 5);
}
}
