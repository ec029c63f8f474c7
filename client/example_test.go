package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
)

// Register an instance, import what the provider's list call has answered, and
// read the newest records back. The environment is as the credentials file of a
// server's first start sets it.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	project := os.Getenv("HUAWEICLOUD_SDK_PROJECT_ID")
	c, err := client.New(client.Options{
		Server: os.Getenv("ERRAND_SERVER"),
		Access: os.Getenv("HUAWEICLOUD_SDK_AK"),
		Secret: os.Getenv("HUAWEICLOUD_SDK_SK"),
	})
	if err != nil {
		log.Fatal(err)
	}
	const instance = "5560df16-cebf-4473-95c4-d1b573c16e79"
	_, err = c.Register(ctx, errand.Instance{Project: project, ID: instance, Name: "cache", Engine: errand.Redis})
	if err != nil && errand.ErrorOf(err).Kind != errand.Conflict { // it may be there already
		log.Fatal(err)
	}
	f, err := os.Open("tasks.json")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	done, err := c.Import(ctx, project, instance, f)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Added, "records added")

	page, err := c.Tasks(ctx, errand.Filter{Project: project, Instance: instance, Limit: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range page.Tasks {
		fmt.Println(t.CreatedAt.Format(time.DateTime), t.Operation, t.Status)
	}
}
