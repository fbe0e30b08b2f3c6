//! Files of fixed width and of XML, which people and the engine change.

use serde_json::json;

use super::project::Project;

const ITEMS: &str = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(12,2), made DATE);
INSERT INTO items VALUES ('009', 'Só na loja', 5.5, '2024-02-29');";

/// A two-way mapping of an object of the files with the shop's items.
fn project(object: &str, said: &str, content: Option<&str>) -> Project {
    let connections = format!(
        "connections:
  sheets: {{ connector: files, path: data, settle: 0s, objects: {{ {object}: {said} }} }}
  shop: {{ connector: sqlite, url: 'sqlite://data/shop.db', create_from: items.sql }}
"
    );
    let mapping = format!(
        "mapping: items
source: {{ connection: sheets, object: {object} }}
target: {{ connection: shop, object: items, key: [code] }}
direction: bidirectional
fields: [{{ copy: [code, name, price, made] }}]
deletes: {{ to_target: propagate, to_source: propagate }}
"
    );
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", &mapping), ("items.sql", ITEMS)]);
    std::fs::create_dir_all(project.path("data")).unwrap();
    if let Some(content) = content {
        project.write(&format!("data/{object}"), content);
    }
    project.engine("validate .").ends(0);
    project
}

fn read(project: &Project, file: &str) -> String {
    std::fs::read_to_string(project.path(&format!("data/{file}"))).unwrap()
}

const ROWS: &str =
    "SELECT code || '|' || name || '|' || coalesce(price, '-') || '|' || coalesce(made, '-') FROM items ORDER BY 1";

const XML: &str = "{ record: /list/items/item, key: [code], \
                   fields: { code: { path: '@code' }, name: text, price: { type: decimal, path: money/price }, \
                   made: { type: date, format: '%d/%m/%Y' } } }";

const LIST: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!-- the list of <item/>s -->
<list xmlns:m=\"urn:m\">
  <head><item>none of them</item></head>
  <items at='2026'>
    <item code='001' size='3'>
      <name>Lamp &amp; shade</name><m:money><price>19.90</price></m:money>
      <more kept=\"yes\"/>
    </item>
    <!-- between -->
    <item code='002'><name/></item>
  </items>
</list>
";

#[tokio::test]
async fn elements_of_xml_and_a_table_follow_each_other() {
    let project = project("list.xml", XML, Some(LIST));
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["to_source"]["created"]), (&json!(2), &json!(1)), "{run}");
    let new = "    <item code=\"009\">\n      <name>Só na loja</name>\n      <money>\n        <price>5.5</price>\n      </money>\n      <made>29/02/2024</made>\n    </item>\n";
    let list = LIST.replace("  </items>", &format!("{new}  </items>"));
    assert_eq!(read(&project, "list.xml"), list, "what nobody changed stands as it stood");
    assert_eq!(
        project
            .column(
                "shop",
                "SELECT code || '|' || coalesce(name, '-') || '|' || coalesce(price, '-') FROM items ORDER BY 1"
            )
            .await,
        ["001|Lamp & shade|19.9", "002|-|-", "009|Só na loja|5.5"]
    );
    assert!(project.engine("run . --once").ends(0).out.contains("nothing to do"));
    // Both are edited, and a record goes on each side.
    project.write("data/list.xml", &list.replace("Lamp &amp; shade", "Lampe <![CDATA[<b>]]>").replace(new, ""));
    project
        .edit(
            "shop",
            "UPDATE items SET price = 25, made = '2026-02-28' WHERE code = '001'; DELETE FROM items WHERE code = '002'",
        )
        .await;
    project.run(0);
    let edited = LIST
        .replace("<item code='001' size='3'>", "<item code=\"001\" size=\"3\">")
        .replace("Lamp &amp; shade", "Lampe &lt;b&gt;")
        .replace("19.90", "25")
        .replace("      <more kept=\"yes\"/>\n", "      <more kept=\"yes\"/>\n      <made>28/02/2026</made>\n")
        .replace("\n    <item code='002'><name/></item>", "");
    assert_eq!(read(&project, "list.xml"), edited);
    assert_eq!(project.column("shop", ROWS).await, ["001|Lampe <b>|25|2026-02-28"]);
    assert!(project.engine("run . --once --full").ends(0).out.contains("nothing to do"));
    // A record that cannot be read is told with its line; a file that is none, too.
    project.write("data/list.xml", &edited.replace("<price>25</price>", "<price>much</price>"));
    let error = project.run(1)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(error.contains("`list.xml`, line 6: `price`: `much` is no decimal"), "{error}");
    project.write("data/list.xml", &edited.replace("</items>", ""));
    let error = project.run(3)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(error.contains("line 13") && error.contains("</list>"), "{error}");
    assert_eq!(project.column("shop", "SELECT code FROM items").await, ["001"], "nothing counts as deleted");
}

#[tokio::test]
async fn a_document_that_is_not_there_is_made() {
    let project = project("new.xml", XML, None);
    project.run(0);
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<list>\n  <items>\n    <item code=\"009\">\n      <name>Só na loja</name>\n      <money>\n        <price>5.5</price>\n      </money>\n      <made>29/02/2024</made>\n    </item>\n  </items>\n</list>\n";
    assert_eq!(read(&project, "new.xml"), expected);
    // An element without records gets the first one.
    project.edit("shop", "DELETE FROM items").await;
    project.write("data/new.xml", "<list><items at='1'/></list>");
    project.engine("reset . items --links --yes").ends(0);
    project.edit("shop", "INSERT INTO items (code, name) VALUES ('1', 'x\u{1}'), ('2', 'y')").await;
    let error = project.run(1)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(error.contains("XML has no character U+0001"), "{error}");
    // A document without line ends goes on without; one with them, with them.
    assert_eq!(read(&project, "new.xml"), "<list><items at='1'><item code=\"2\"><name>y</name></item></items></list>");
    project.edit("shop", "DELETE FROM items").await;
    project.write("data/new.xml", "<list>\n  <items at='1' />\n</list>\n");
    project.engine("reset . items --links --yes").ends(0);
    project.edit("shop", "INSERT INTO items (code) VALUES ('3')").await;
    project.run(0);
    let expected = "<list>\n  <items at='1'>\n    <item code=\"3\"/>\n  </items>\n</list>\n";
    assert_eq!(read(&project, "new.xml"), expected);
}

#[tokio::test]
async fn lines_of_fixed_width_and_a_table_follow_each_other() {
    let said = "{ format: fixed_width, decimal: comma, key: [code], fields: { code: { width: 3 }, name: { width: 12 }, \
                price: { type: decimal, width: 8 }, made: { type: date, format: '%d%m%Y', width: 8 }, note: { width: 4 } } }";
    let lines = "001Lamp           19,9028022026keep\r\n002Ação\r\n\r\n";
    let project = project("items.txt", said, Some(lines));
    project.run(0);
    let after = "001Lamp           19,9028022026keep\r\n002Ação\r\n009Só na loja       5,529022024    \r\n\r\n";
    assert_eq!(read(&project, "items.txt"), after);
    assert_eq!(
        project.column("shop", ROWS).await,
        ["001|Lamp|19.9|2026-02-28", "002|Ação|-|-", "009|Só na loja|5.5|2024-02-29"]
    );
    project.write("data/items.txt", &after.replace("Lamp ", "Lampe"));
    project
        .edit(
            "shop",
            "UPDATE items SET price = 7 WHERE code = '001'; UPDATE items SET name = 'beyond twelve' WHERE code = '002'",
        )
        .await;
    let run = &project.run(1)["runs"][0];
    let error = &run["errors"][0];
    assert_eq!((&error["code"], &error["field"]), (&json!("E0702"), &json!("name")), "{run}");
    assert!(read(&project, "items.txt").starts_with("001Lampe              728022026keep\r\n002Ação\r\n009"));
    project.edit("shop", "UPDATE items SET name = 'Açúcar', price = 123456789 WHERE code = '002'").await;
    let error = project.run(1)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(error.contains("longer than the 8 characters of `price`"), "{error}");
    project.edit("shop", "UPDATE items SET price = NULL WHERE code = '002'").await;
    project.run(0);
    assert!(
        read(&project, "items.txt").contains("002Açúcar                          \r\n"),
        "{}",
        read(&project, "items.txt")
    );
    project.write("data/items.txt", &(read(&project, "items.txt") + "003Chair          12,00310220261234x\r\n"));
    let error = project.run(1)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(error.contains("line 4") || error.contains("line 5"), "{error}");
    assert!(error.contains("it has 36 characters, and the fields have 35"), "{error}");
}
