use engine::config::schema;

#[test]
fn show() {
    println!("{}", serde_json::to_string_pretty(&schema::mapping(schema::any_rule())).unwrap());
    println!("{}", serde_json::to_string_pretty(&schema::connections()).unwrap());
}
